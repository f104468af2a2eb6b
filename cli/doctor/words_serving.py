"""The words of what is found around serving: ports, proxies, the model, memory, the terminal."""

from ...adapters.devices.known_errors import Words
from .finding import Entry

SERVING = {
    "model-pointers": Entry(
        "stop",
        Words(
            "{count} file(s) of {path} are git-lfs pointers and no weights: {first}",
            "{path} 中有 {count} 个文件只是 git-lfs 指针，不是权重：{first}",
        ),
        Words(
            "it was cloned without git-lfs",
            "克隆时没有安装 git-lfs",
        ),
        "git -C {path} lfs install --local && git -C {path} lfs pull",
    ),
    "model-first-generation": Entry(
        "stop",
        Words(
            "{path} is a ChatGLM-6B, the first generation",
            "{path} 是第一代 ChatGLM-6B",
        ),
        Words(
            "it is built otherwise and is not supported; ChatGLM2-6B is",
            "它的结构不同，不受支持；请使用 ChatGLM2-6B",
        ),
        "hf download THUDM/chatglm2-6b --local-dir chatglm2-6b",
    ),
    "model-cut": Entry(
        "stop",
        Words(
            "the weights of {path} are {size} MB, and its index promises {declared} MB",
            "{path} 的权重共 {size} MB，而索引声明 {declared} MB",
        ),
        Words("a file was cut short on its way", "有文件没有下载完整"),
        "ls -l {path}",
    ),
    "model-broken": Entry(
        "stop",
        Words("the model cannot be loaded", "模型无法加载"),
        Words("{problem}", "{problem}（文件检查结果）"),
    ),
    "model-memory": Entry(
        "stop",
        Words(
            "the model wants about {need} MB, and {free} MB of memory are free",
            "模型大约需要 {need} MB，而可用内存只有 {free} MB",
        ),
        Words(
            "on the CPU it is computed in float32; take a smaller model",
            "CPU 上以 float32 计算；请换用更小的模型",
        ),
        "danlu up --demo",
    ),
    "disk-full": Entry(
        "warn",
        Words("the disk of {path} is full", "{path} 所在磁盘已满"),
        Words(
            "{free} MB are free; logs and compiled operators want more",
            "剩余 {free} MB；日志和算子编译缓存需要更多空间",
        ),
        "df -h {path}",
    ),
    "port-taken": Entry(
        "stop",
        Words("port {port} is taken by {owner}", "端口 {port} 已被 {owner} 占用"),
        Words(
            "danlu's {program} wants it: end what has it, or give `danlu up` another {flag}",
            "danlu 的 {program} 要使用它：结束占用它的进程，或用 `danlu up` 的 {flag} 换一个端口",
        ),
        "sudo ss -ltnp 'sport = :{port}'",
    ),
    "port-ours": Entry(
        "note",
        Words("danlu serves on port {port} already", "danlu 已在端口 {port} 上提供服务"),
        Words("it is {owner}", "进程为 {owner}"),
    ),
    "proxy": Entry(
        "warn",
        Words(
            "{name} is set, and no_proxy does not except this machine",
            "设置了 {name}，但 no_proxy 没有排除本机",
        ),
        Words(
            "danlu asks no proxy, but FastChat's programs and OpenAI clients do: a worker then "
            "cannot register, and localhost is asked of the proxy",
            "danlu 不走代理，但 FastChat 的程序和 OpenAI 客户端会走：worker 无法注册，"
            "访问 localhost 也会经过代理",
        ),
        "export no_proxy=localhost,127.0.0.1,$no_proxy NO_PROXY=localhost,127.0.0.1,$NO_PROXY",
    ),
    "terminal": Entry(
        "warn",
        Words(
            "this terminal speaks {encoding}, not UTF-8",
            "当前终端编码是 {encoding}，不是 UTF-8",
        ),
        Words("Chinese is not shown right", "中文无法正确显示"),
        "export LANG=C.UTF-8 LC_ALL=C.UTF-8",
    ),
}
