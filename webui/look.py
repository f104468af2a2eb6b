"""How the page looks: theme, style sheet, and the one script that watches the server.

Fonts are plain names: Gradio's default theme asks Google for them and blocks until it answers.
"""

import json

import gradio as gr

FONT = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "sans-serif",
]
MONO = [
    "ui-monospace",
    "Consolas",
    "DejaVu Sans Mono",
    "Noto Sans Mono CJK SC",
    "monospace",
]

CSS = """
.gradio-container { max-width: 1100px !important; margin: 0 auto !important; }
.contain > .gap { height: calc(100vh - 40px); }
.contain > .gap > * { flex-shrink: 0; }

#danlu-top { align-items: center; }
#danlu-header h1 { margin: 0; font-size: 1.7rem; }
#danlu-header p { margin: 0; color: var(--body-text-color-subdued); }

.block#danlu-lost { display: none; }
body.danlu-lost .block#danlu-lost { display: block; }
.block#danlu-lost, .block#danlu-notice {
  border-left: 4px solid var(--color-accent) !important; background: var(--color-accent-soft);
  padding: 0.7rem 1rem;
}
#danlu-notice h3 { margin: 0 0 0.3rem; font-size: 1.05rem; }
#danlu-notice p { margin: 0.2rem 0; }

#danlu-chat { flex: 1 1 0 !important; min-height: 320px; height: auto !important; }
#danlu-chat .message {
  width: fit-content; max-width: 92%; padding: 0.6rem 2.2rem 0.6rem 0.9rem;
  font-size: 1rem; line-height: 1.6;
}
#danlu-chat .user-row { justify-content: flex-end; }
#danlu-chat .message-row { width: 100%; max-width: 100%; } /* long code scrolls in its own box */
#danlu-chat .message { min-width: 0; }
#danlu-chat code { font-size: 0.92em; }
#danlu-chat :not(pre) > code {
  padding: 0.1em 0.3em; border-radius: 4px; background: var(--border-color-primary);
}
#danlu-chat pre { overflow-x: auto; padding-right: 3rem; }
#danlu-chat pre code { font-size: 0.875rem; }
#danlu-status { min-height: 1.6rem; }
#danlu-status p { margin: 0; font-size: 0.85rem; color: var(--body-text-color-subdued); }
#danlu-status .wrap, #danlu-chat .generating { border: none !important; animation: none; }
input[type="range"] { accent-color: var(--primary-700) !important; }
#danlu-box textarea::placeholder {
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
button { word-break: keep-all; }
#danlu-refresh, footer { display: none !important; }
@media (max-width: 640px) {
  .contain > .gap { height: auto; }
  #danlu-top { flex-direction: column; align-items: stretch; }
  #danlu-chat { flex: 0 0 50vh !important; }
  #danlu-parameters .form > .block { min-width: 100% !important; }
}
"""

# Asks the server every few seconds whether the list of models changed, and only then lets Gradio
# fetch it. Gradio's own `every=` would hold one of forty threads for each open tab.
WATCH = """() => {
  const root = (window.gradio_config && window.gradio_config.root) || "";
  let seen = null;
  const look = async () => {
    try {
      const answer = await fetch(root + "/served", {cache: "no-store"});
      const version = (await answer.json()).version;
      document.body.classList.remove("danlu-lost");
      if (version !== seen) document.getElementById("danlu-refresh").click();
      seen = version;
    } catch (error) {
      document.body.classList.add("danlu-lost");
    }
  };
  setInterval(look, %s);
  look();
}"""

WISH = "() => [new URLSearchParams(window.location.search).get('model') || '']"


def theme() -> gr.themes.Base:
    return gr.themes.Default(
        primary_hue="orange",
        secondary_hue="orange",
        neutral_hue="slate",
        font=FONT,
        font_mono=MONO,
    ).set(
        button_primary_background_fill="*primary_500",
        button_primary_background_fill_hover="*primary_600",
        button_primary_text_color="white",
    )


def watch(interval: float) -> str:
    """The script, looking every `interval` seconds."""
    return WATCH % json.dumps(int(interval * 1000))
