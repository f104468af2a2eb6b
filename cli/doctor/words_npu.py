"""The words of what is found between the bus and torch_npu: cards, driver, CANN."""

from ...adapters.devices.known_errors import Words
from .finding import Entry

CONTAINER = (
    "docker run -it --device /dev/davinci0 --device /dev/davinci_manager --device /dev/devmm_svm "
    "--device /dev/hisi_hdc -v /usr/local/dcmi:/usr/local/dcmi:ro "
    "-v /usr/local/Ascend/driver:/usr/local/Ascend/driver:ro "
    "-v /usr/local/bin/npu-smi:/usr/local/bin/npu-smi:ro "
    "-v /etc/ascend_install.info:/etc/ascend_install.info:ro IMAGE"
)

NPU = {
    "no-npu": Entry(
        "note",
        Words("no NPU: this machine has no Ascend card", "没有 NPU：本机没有昇腾卡"),
        Words(
            "nothing of Ascend's is on the bus, in /dev or installed; danlu serves without one",
            "总线、/dev 和已安装软件中都没有昇腾设备；danlu 将不使用 NPU",
        ),
    ),
    "npu-asked-for": Entry(
        "stop",
        Words(
            "no NPU: --device {device} is asked for, and no Ascend card is here",
            "没有 NPU：指定了 --device {device}，但本机没有昇腾卡",
        ),
        Words(
            "nothing of Ascend's is on the bus, in /dev or installed",
            "总线、/dev 和已安装软件中都没有昇腾设备",
        ),
        "danlu up --device cpu --model-path {model}",
    ),
    "container-without-npu": Entry(
        "stop",
        Words("this container was started without an NPU", "容器启动时没有传入 NPU"),
        Words(
            "{missing} must be passed in, and the driver's folder with it",
            "需要传入 {missing} 以及驱动目录",
        ),
        CONTAINER,
    ),
    "driver-missing": Entry(
        "stop",
        Words("the driver of the Ascend card is not installed", "未安装昇腾驱动"),
        Words(
            "{cards} card(s) of Huawei's are on the bus, and /usr/local/Ascend/driver is not there",
            "总线上有 {cards} 张华为加速卡，但没有 /usr/local/Ascend/driver",
        ),
        "sudo sh Ascend-hdk-*-npu-driver_*_linux-{machine}.run --full --install-for-all",
    ),
    "device-files-missing": Entry(
        "stop",
        Words("{missing} is not there", "缺少 {missing}"),
        Words(
            "driver {driver} is installed, but its kernel modules did not make the device files; "
            "it wants a restart after it was installed",
            "已安装驱动 {driver}，但内核模块没有创建设备文件；安装驱动后需要重启",
        ),
        "sudo reboot",
    ),
    "device-permission": Entry(
        "stop",
        Words("{user} may not use {path}", "用户 {user} 无权访问 {path}"),
        Words(
            "the device files belong to the group {group}, and {user} is not in it",
            "设备文件属于 {group} 组，{user} 不在该组",
        ),
        "sudo usermod -aG {group} {user} && newgrp {group}",
    ),
    "smi-missing": Entry(
        "warn",
        Words("npu-smi is not found", "找不到 npu-smi"),
        Words(
            "it comes with the driver and lies in /usr/local/bin or /usr/local/sbin; without it "
            "cards and their memory cannot be looked at",
            "它随驱动安装在 /usr/local/bin 或 /usr/local/sbin；没有它就无法查看卡和显存",
        ),
        "export PATH=$PATH:/usr/local/bin:/usr/local/sbin",
    ),
    "smi-fails": Entry(
        "stop",
        Words("npu-smi shows no card: {words}", "npu-smi 没有列出任何卡：{words}"),
        Words("the driver does not answer", "驱动没有响应"),
        "sudo dmesg | grep -iE 'davinci|ascend|drv_' | tail -n 20",
    ),
    "card-ill": Entry(
        "stop",
        Words("card {card} ({name}) says {health}", "第 {card} 张卡（{name}）状态为 {health}"),
        Words("its own health check fails", "设备自检未通过"),
        "npu-smi info -t health -i {npu}",
    ),
    "firmware-range": Entry(
        "warn",
        Words(
            "firmware {firmware} does not fit driver {driver}",
            "固件 {firmware} 与驱动 {driver} 不配套",
        ),
        Words(
            "this driver takes firmware {first} to {last}",
            "该驱动要求固件 {first} 至 {last}",
        ),
        "sudo sh Ascend-hdk-*-npu-firmware_*.run --full && sudo reboot",
    ),
    "visible-devices": Entry(
        "stop",
        Words(
            "ASCEND_RT_VISIBLE_DEVICES={value} hides the cards or names one that is not here",
            "ASCEND_RT_VISIBLE_DEVICES={value} 隐藏了所有卡或指定了不存在的卡",
        ),
        Words(
            "it wants numbers from 0 to {last}, each once, separated by commas",
            "应为 0 到 {last} 的编号，互不重复，以逗号分隔",
        ),
        "export ASCEND_RT_VISIBLE_DEVICES={right}",
    ),
    "card-number": Entry(
        "stop",
        Words("--device {device} is not here", "没有 --device {device} 指定的卡"),
        Words(
            "{count} card(s) can be seen, counted from 0",
            "可见 {count} 张卡，编号从 0 开始",
        ),
        "danlu up --device npu:0 --model-path {model}",
    ),
    "card-full": Entry(
        "warn",
        Words(
            "card {card} has {free} MB free of {total}",
            "第 {card} 张卡剩余显存 {free} MB，共 {total} MB",
        ),
        Words(
            "other processes work there ({who}), and about {need} MB are wanted",
            "其他进程正在使用（{who}），而大约需要 {need} MB",
        ),
        "ps -fp {pids}",
    ),
    "card-too-small": Entry(
        "stop",
        Words(
            "the model does not fit card {card}: {free} MB are free",
            "模型放不进第 {card} 张卡：剩余显存 {free} MB",
        ),
        Words(
            "its weights and a little room to work want about {need} MB",
            "权重加上运行所需空间大约 {need} MB",
        ),
        "npu-smi info",
    ),
    "chip-of-old": Entry(
        "note",
        Words(
            "{name} has no bfloat16, and compiles operators for every new shape",
            "{name} 不支持 bfloat16，并且默认对每个新形状编译算子",
        ),
        Words(
            "serve in float16; the first answer of each length takes minutes unless a program "
            "switches jit_compile off before its first operator",
            "请使用 float16；程序若不先关闭 jit_compile，每种长度的首次回答要几分钟",
        ),
        "export DANLU_WORKER_DTYPE=float16",
    ),
    "chip-without-bfloat16": Entry(
        "stop",
        Words(
            "the model is in bfloat16, and {name} has none",
            "模型为 bfloat16，而 {name} 不支持",
        ),
        Words("it must be served in float16", "需要以 float16 提供服务"),
        "danlu up --device npu --dtype float16 --model-path {model}",
    ),
    "cann-missing": Entry(
        "stop",
        Words("CANN is not installed", "未安装 CANN"),
        Words(
            "torch_npu stands on it, and no set_env.sh lies in /usr/local/Ascend or ~/Ascend",
            "torch_npu 依赖 CANN，而 /usr/local/Ascend 和 ~/Ascend 下没有 set_env.sh",
        ),
        "sudo sh Ascend-cann-toolkit_{wanted}_linux-{machine}.run --install",
    ),
    "cann-not-sourced": Entry(
        "stop",
        Words(
            "CANN {version} is installed, but this shell does not know it",
            "已安装 CANN {version}，但当前 shell 没有加载它的环境变量",
        ),
        Words(
            "its set_env.sh was not sourced, so torch_npu does not find libhccl.so and the others",
            "没有执行 set_env.sh，torch_npu 找不到 libhccl.so 等动态库",
        ),
        "source {set_env}",
    ),
    "cann-old": Entry(
        "warn",
        Words(
            "CANN {version} is older than torch_npu {torch_npu} wants",
            "CANN {version} 低于 torch_npu {torch_npu} 的要求",
        ),
        Words("it is made for CANN {wanted}", "它配套的是 CANN {wanted}"),
        "sudo sh Ascend-cann-toolkit_{wanted}_linux-{machine}.run --install",
    ),
}
