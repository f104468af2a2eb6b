"""vLLM's parameters that may be given with the value that asks for nothing, and with no other.

Its clients send them with their defaults, which are what is done here anyway. Those of vLLM's that
are honoured stand among the fields of `Sampling` and `Structured`.
"""

from typing import Annotated, Any

from .openai_fields import Given, OnlyIf

NO_TEXT = "special tokens have no text"
ONLY_TEXT = "answers are told as text"
OWN_TEMPLATE = "chats are written by the worker's template"


class Extras(Given):
    """Those of chats and of completions."""

    length_penalty: Annotated[Any, OnlyIf("there is no beam search", (1.0, 1))] = None
    skip_special_tokens: Annotated[Any, OnlyIf(NO_TEXT, (True,))] = None
    spaces_between_special_tokens: Annotated[Any, OnlyIf(NO_TEXT, (True, False))] = None
    include_stop_str_in_output: Annotated[
        Any, OnlyIf("stop texts are no part of an answer", (False,))
    ] = None
    bad_words: Annotated[Any, OnlyIf("'logit_bias' keeps tokens away", ([],))] = None
    allowed_token_ids: Annotated[Any, OnlyIf("'structured_outputs' says what may come")] = None
    logits_processors: Annotated[Any, OnlyIf("no code of a request is run", ([],))] = None
    truncate_prompt_tokens: Annotated[Any, OnlyIf("prompts are not cut to a length")] = None
    return_token_ids: Annotated[Any, OnlyIf(ONLY_TEXT, (False,))] = None
    return_tokens_as_token_ids: Annotated[Any, OnlyIf(ONLY_TEXT, (False,))] = None
    request_id: Annotated[Any, OnlyIf("an answer's id is made here")] = None
    session_id: Annotated[Any, OnlyIf("there are no sessions")] = None
    cache_salt: Annotated[Any, OnlyIf("what prompts begin with is kept for all alike")] = None
    kv_transfer_params: Annotated[Any, OnlyIf("the KV cache stays in its worker", ({},))] = None
    vllm_xargs: Annotated[Any, OnlyIf("they are vLLM's own", ({},))] = None


class ChatExtras(Extras):
    echo: Annotated[Any, OnlyIf("a chat's messages are not repeated", (False,))] = None
    add_generation_prompt: Annotated[Any, OnlyIf("each answer is a new message", (True,))] = None
    continue_final_message: Annotated[Any, OnlyIf("each answer is a new message", (False,))] = None
    add_special_tokens: Annotated[Any, OnlyIf(OWN_TEMPLATE, (False,))] = None
    chat_template: Annotated[Any, OnlyIf(OWN_TEMPLATE)] = None
    chat_template_kwargs: Annotated[Any, OnlyIf(OWN_TEMPLATE, ({},))] = None
    documents: Annotated[Any, OnlyIf("quote them in a message", ([],))] = None
    mm_processor_kwargs: Annotated[Any, OnlyIf("only text is supported", ({},))] = None
    include_reasoning: Annotated[Any, OnlyIf("nothing is taken out of an answer", (True,))] = None


class CompletionExtras(Extras):
    add_special_tokens: Annotated[
        Any, OnlyIf("give 'prompt' as token ids where nothing may be put before it", (True,))
    ] = None
    prompt_embeds: Annotated[Any, OnlyIf("only text and token ids are supported")] = None
