"""The words of what is found in Python: torch, torch_npu, and the packages around them."""

from ...adapters.devices.known_errors import Words
from .finding import Entry

PYTHON = {
    "python-version": Entry(
        "stop",
        Words("Python {version} is not supported", "不支持 Python {version}"),
        Words(
            "3.11 and 3.12 are: Gradio 3.41.0 has no numpy for newer ones",
            "支持 3.11 与 3.12；Gradio 3.41.0 在更新的版本上没有可用的 numpy",
        ),
        "conda create -y -n danlu python=3.11 && conda activate danlu",
    ),
    "torch-missing": Entry(
        "stop",
        Words("torch is not installed", "未安装 torch"),
        Words("a worker computes with it", "worker 需要它"),
        "{python} -m pip install '{wanted}'",
    ),
    "torch-npu-missing": Entry(
        "stop",
        Words("torch_npu is not installed", "未安装 torch_npu"),
        Words(
            "an NPU is here, and torch {torch} cannot use it without",
            "本机有 NPU，但 torch {torch} 没有它就无法使用",
        ),
        "{python} -m pip install {wanted}",
    ),
    "torch-npu-without-npu": Entry(
        "stop",
        Words(
            "torch_npu is installed on a machine without CANN, so torch cannot be imported",
            "没有 CANN 却安装了 torch_npu，导致无法 import torch",
        ),
        Words(
            "torch loads it by itself and fails; TORCH_DEVICE_BACKEND_AUTOLOAD=0 helps torch, but "
            "not transformers",
            "torch 会自动加载它并失败；TORCH_DEVICE_BACKEND_AUTOLOAD=0 只对 torch 有效，"
            "对 transformers 无效",
        ),
        "{python} -m pip uninstall -y torch_npu",
    ),
    "torch-pair": Entry(
        "stop",
        Words(
            "torch {torch} and torch_npu {torch_npu} are not a pair",
            "torch {torch} 与 torch_npu {torch_npu} 不配套",
        ),
        Words(
            "torch_npu is built for exactly one version of torch",
            "torch_npu 只与同一版本的 torch 配套",
        ),
        "{python} -m pip install {wanted}",
    ),
    "static-tls": Entry(
        "warn",
        Words(
            "{library} finds no room at import (static TLS)",
            "导入时 {library} 没有空间（静态 TLS）",
        ),
        Words(
            "danlu starts again by itself with it preloaded; other programs want this line",
            "danlu 会自动预加载并重新启动；其他程序需要这条命令",
        ),
        "export LD_PRELOAD={preload}",
    ),
    "static-tls-without-cure": Entry(
        "stop",
        Words(
            "{library} finds no room at import (static TLS), and no copy of it can be preloaded",
            "导入时 {library} 没有空间（静态 TLS），也没有可预加载的副本",
        ),
        Words(
            "the loader's room for thread-local variables was used up",
            "线程局部变量的静态空间已用完",
        ),
        "export LD_PRELOAD=$(find / -name '{stem}*.so*' 2>/dev/null | head -n 1)",
    ),
    "cuda-torch": Entry(
        "warn",
        Words(
            "torch {torch} is built for CUDA {cuda}, beside torch_npu",
            "torch {torch} 是 CUDA {cuda} 版本，却与 torch_npu 同时安装",
        ),
        Words(
            "torch_npu refuses a torch that counts another accelerator; it wants the CPU build, "
            "which PyTorch's own package index has (pytorch.org, Get Started, CPU)",
            "torch_npu 拒绝带有其他加速器的 torch；应使用 CPU 版本，"
            "由 PyTorch 自己的软件包索引提供（pytorch.org，Get Started，CPU）",
        ),
        "{python} -m pip install --force-reinstall --no-deps torch=={release}+cpu",
    ),
    "torch-broken": Entry(
        "stop",
        Words("torch cannot be imported: {words}", "无法 import torch：{words}"),
        Words("its installation is damaged or incomplete", "安装损坏或不完整"),
        "{python} -m pip install --force-reinstall --no-deps torch=={torch}",
    ),
    "torch-npu-broken": Entry(
        "stop",
        Words("torch_npu does not work: {words}", "torch_npu 无法使用：{words}"),
        Words(
            "it could not be imported, or could not use a card",
            "无法导入，或无法使用 NPU",
        ),
        '{python} -c "import torch, torch_npu; print(torch.ones(1).npu())"',
    ),
    "cuda-asked-for": Entry(
        "stop",
        Words("--device {device} is asked for, and torch has no CUDA", "torch 不支持 CUDA"),
        Words("torch {torch} is built without it", "当前 torch {torch} 是 CPU 版本"),
        "danlu up --device cpu --model-path {model}",
    ),
    "sentencepiece-missing": Entry(
        "stop",
        Words("sentencepiece is not installed", "未安装 sentencepiece"),
        Words(
            "ChatGLM2's tokenizer.model is read with it", "读取 ChatGLM2 的 tokenizer.model 需要它"
        ),
        "{python} -m pip install sentencepiece",
    ),
    "package-missing": Entry(
        "stop",
        Words("{name} is not installed", "未安装 {name}"),
        Words("danlu needs it", "danlu 需要它"),
        "{python} -m pip install '{wanted}'",
    ),
    "package-range": Entry(
        "stop",
        Words("{name} {version} is not supported", "不支持 {name} {version}"),
        Words("danlu is made for {name}{range}", "danlu 要求 {name}{range}"),
        "{python} -m pip install '{wanted}'",
    ),
    "page-missing": Entry(
        "warn",
        Words("gradio is not installed: there is no web page", "未安装 gradio：没有网页界面"),
        Words("`danlu up` starts one", "`danlu up` 会启动网页"),
        "{python} -m pip install 'danlu[webui]'",
    ),
    "gradio-version": Entry(
        "stop",
        Words(
            "gradio {version}: the page does not react to what is typed",
            "gradio {version}：网页输入后无反应",
        ),
        Words("the page is made for 3.41.0, exactly", "网页界面只适配 3.41.0"),
        "{python} -m pip install gradio==3.41.0",
    ),
    "starlette-new": Entry(
        "stop",
        Words(
            "starlette {version}: the page does not open",
            "starlette {version}：网页无法打开",
        ),
        Words(
            "Gradio 3.41.0 needs an older one, and fastapi from 0.164 on needs a newer one",
            "Gradio 3.41.0 需要 1.0 以下版本，而 fastapi 0.164 起要求更新的版本",
        ),
        "{python} -m pip install 'starlette<1' 'fastapi<0.164'",
    ),
    "page-broken": Entry(
        "stop",
        Words("gradio cannot be imported: {words}", "无法 import gradio：{words}"),
        Words(
            "one of the packages below it is of another time, most often numpy 2 or websockets 15",
            "它依赖的某个包版本不合适，多为 numpy 2 或 websockets 15",
        ),
        "{python} -m pip install gradio==3.41.0 'numpy<2' 'websockets<12'",
    ),
}
