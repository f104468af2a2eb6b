"""The catalogue of what goes wrong below torch: signs, causes and remedies, in two languages.

The numbers are those of CANN's runtime (acl/error_codes/rt_error_codes.h) and the letters those of
its error messages: EE runtime, EL driver, EI and EJ communication, EZ operators.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """The same in English and in Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class KnownError:
    """What it is, why it comes about and what to do, and a command for that, or none.

    `sign` is a regular expression, found in the error's text whatever its letters' case; `example`
    is such a text.
    """

    id: str
    sign: str
    example: str
    what: Words
    why: Words
    command: str = ""


def _code(*numbers: int) -> str:
    """A sign: one of these numbers, as torch_npu and CANN print them."""
    return (
        rf"\b(?:error code(?: is)?|ErrCode|retCode|ret)\W{{0,3}}(?:{'|'.join(map(str, numbers))})\b"
    )


KNOWN_ERRORS = (
    KnownError(
        "static-tls",
        r"cannot allocate memory in static TLS block",
        "/opt/conda/lib/libgomp.so.1: cannot allocate memory in static TLS block",
        Words("a library found no room at import", "导入时某个动态库没有空间（静态 TLS）"),
        Words(
            "the loader's room for thread-local variables was used up; load that library first",
            "线程局部变量的静态空间已用完；需要让该库最先加载",
        ),
        "export LD_PRELOAD=$(find / -name 'libgomp*.so*' 2>/dev/null | head -n 1)",
    ),
    KnownError(
        "cann-unknown",
        r"lib(?:hccl|ascendcl|acl_op_compiler|ge_runner|graph|acl_tdt_channel)\.so: "
        r"cannot open shared object file",
        "ImportError: libhccl.so: cannot open shared object file: No such file or directory",
        Words("CANN's libraries are not found", "找不到 CANN 的动态库"),
        Words(
            "CANN is not installed, or its set_env.sh was not sourced in this shell",
            "未安装 CANN，或当前 shell 没有执行它的 set_env.sh",
        ),
        "source /usr/local/Ascend/ascend-toolkit/set_env.sh",
    ),
    KnownError(
        "driver-unknown",
        r"lib(?:ascend_hal|drvdsmi_host|dcmi)\.so: cannot open shared object file",
        "ImportError: libascend_hal.so: cannot open shared object file: No such file or directory",
        Words("the driver's libraries are not found", "找不到驱动的动态库"),
        Words(
            "the driver is not installed, or a container was started without it",
            "未安装驱动，或容器启动时没有挂载驱动目录",
        ),
        "export LD_LIBRARY_PATH=/usr/local/Ascend/driver/lib64:"
        "/usr/local/Ascend/driver/lib64/driver:$LD_LIBRARY_PATH",
    ),
    KnownError(
        "torch-mismatch",
        r"undefined symbol: \w*(?:c10|at|torch)\w*",
        "libtorch_npu.so: undefined symbol: _ZN3c104impl8GPUTraceE",
        Words("torch and torch_npu are not a pair", "torch 与 torch_npu 版本不配套"),
        Words(
            "torch_npu is built for exactly one version of torch",
            "torch_npu 只与同一版本的 torch 配套",
        ),
        "python -m pip install torch==2.13.0 torch_npu==2.13.0",
    ),
    KnownError(
        "cann-too-old-for-operator",
        r"aclnn\w+ (?:or aclnn\w+ )?not in lib\w+|undefined symbol: acl\w+",
        "RuntimeError: aclnnRmsNorm or aclnnRmsNormGetWorkspaceSize not in libopapi.so",
        Words("CANN lacks an operator", "CANN 缺少所需的算子"),
        Words(
            "CANN is older than this torch_npu wants, or its operator package is not installed",
            "CANN 版本低于 torch_npu 的要求，或未安装算子包（kernels/ops）",
        ),
        "danlu doctor",
    ),
    KnownError(
        "forked",
        r"Cannot re-initialize NPU in forked subprocess",
        "RuntimeError: Cannot re-initialize NPU in forked subprocess. To use NPU with "
        "multiprocessing, you must use the 'spawn' start method",
        Words("an NPU was used before a fork", "fork 之前已使用过 NPU"),
        Words(
            "a forked process cannot take over its parent's cards; start it with spawn",
            "fork 出的子进程不能继承 NPU；请用 spawn 方式启动",
        ),
    ),
    KnownError(
        "no-context",
        rf"{_code(107002)}|context pointer null|ctx is NULL|The context is empty",
        "NPU function error: aclrtSynchronizeStream, error code is 107002",
        Words("a thread used the NPU without being bound to it", "线程未绑定 NPU 就使用了它"),
        Words(
            "CANN keeps a context per thread; call torch.npu.set_device in every thread",
            "CANN 的 context 属于线程；每个线程都要先调用 torch.npu.set_device",
        ),
    ),
    KnownError(
        "no-such-card",
        _code(107001),
        "NPU function error: aclrtSetDevice(7), error code is 107001",
        Words("there is no card of that number", "没有这个编号的 NPU"),
        Words(
            "cards are counted from 0 among those that ASCEND_RT_VISIBLE_DEVICES shows",
            "编号从 0 开始，只在 ASCEND_RT_VISIBLE_DEVICES 可见的卡中计数",
        ),
        "npu-smi info",
    ),
    KnownError(
        "no-stream",
        rf"{_code(207008)}|\bEL0009\b",
        "NPU function error: aclrtCreateStream, error code is 207008",
        Words("the card has no stream left", "NPU 的 stream 资源已耗尽"),
        Words(
            "too many graphs or processes use the card at a time",
            "同时使用该卡的图或进程过多",
        ),
        "npu-smi info",
    ),
    KnownError(
        "recording",
        _code(*range(107024, 107034), 107036, 107038, 107041, 507903),
        "NPU function error: endCaptureErr, error code is 507903",
        Words("work could not be recorded as a graph", "无法录制为图（aclgraph）"),
        Words(
            "something in it waits for the card, or copies from or to the host",
            "其中有操作需要等待 NPU，或与主机之间拷贝数据",
        ),
        "export DANLU_WORKER_GRAPHS=off",
    ),
    KnownError(
        "out-of-memory",
        rf"{_code(207001, 207018)}|NPU out of memory|\bEL0004\b",
        "NPU function error: aclrtMalloc, error code is 207001",
        Words("the card's memory is full", "NPU 显存不足"),
        Words(
            "the model, the running requests and other processes want more than it has",
            "模型、正在处理的请求和其他进程的用量超过了显存",
        ),
        "npu-smi info",
    ),
    KnownError(
        "no-permission",
        _code(207006),
        "NPU function error: aclrtSetDevice, error code is 207006",
        Words("this user may not use the card", "当前用户没有使用 NPU 的权限"),
        Words(
            "the card's device files belong to the group HwHiAiUser",
            "设备文件属于 HwHiAiUser 用户组",
        ),
        "sudo usermod -aG HwHiAiUser $USER",
    ),
    KnownError(
        "memory-fault",
        rf"{_code(507053, 507054)}|UCE ERROR|HBM MULTI BIT ECC ERROR|SUSPECT MEM ERROR",
        "error code is 507053: HBM MULTI BIT ECC ERROR",
        Words("the card's memory is damaged", "NPU 显存硬件错误（ECC/UCE）"),
        Words(
            "what lay there is lost; take the card out of service if it comes again",
            "该处数据已丢失；若再次出现请停用此卡",
        ),
        "npu-smi info -t ecc -i 0",
    ),
    KnownError(
        "link-fault",
        r"HCCS LINK ERROR|SUSPECT REMOTE ERROR",
        "error code is 507056: HCCS LINK ERROR",
        Words("the link between two cards is broken", "NPU 卡间链路故障"),
        Words("the cards lost each other", "卡与卡之间的连接中断"),
        "npu-smi info -t topo",
    ),
    KnownError(
        "dcmi-occupied",
        r"dcmi model initialized failed, because the device is used|ret is -8020",
        "dcmi model initialized failed, because the device is used. ret is -8020",
        Words("another container holds the cards", "NPU 已被其他容器占用"),
        Words(
            "an unprivileged container takes its cards for itself alone; stop the other one, or "
            "give each its own cards",
            "非特权容器独占挂载的卡；请停止另一个容器，或为各容器分配不同的卡",
        ),
        "docker ps --format '{{.ID}} {{.Names}}'",
    ),
    KnownError(
        "dcmi-refused",
        r"dcmi module initialize failed|ret is -800\d",
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3) "
        "dcmi module initialize failed. ret is -8005",
        Words("the driver does not answer", "驱动没有响应（DCMI 初始化失败）"),
        Words(
            "this user may not use /dev/davinci_manager, or a container was started without it",
            "当前用户无权访问 /dev/davinci_manager，或容器启动时没有传入它",
        ),
        "ls -l /dev/davinci_manager /dev/devmm_svm /dev/hisi_hdc",
    ),
    KnownError(
        "driver-87",
        r"(?:drv\w*|drvErr|drvRetCode)\W{0,3}(?:=|is)\W{0,3}87\b|\bdrv\w* \w*\W*87\b",
        "GetDeviceCount:Call drvGetDevNum, drvRetCode=87",
        Words("the driver shows this process no card", "驱动没有向本进程提供任何 NPU"),
        Words(
            "the user is not in the group HwHiAiUser, or another container holds the cards",
            "用户不在 HwHiAiUser 组，或卡被其他容器占用",
        ),
        "id -nG; ls -l /dev/davinci*",
    ),
    KnownError(
        "operators-missing",
        r"\bE30006\b|Failed to verify the OPP|binary bin not found",
        "E30006: Failed to verify the OPP",
        Words("CANN's operator package does not fit", "CANN 算子包（OPP）校验失败"),
        Words(
            "the kernels for this chip are missing or of another version than the toolkit",
            "缺少本芯片的算子包，或其版本与 toolkit 不一致",
        ),
        "cat $ASCEND_HOME_PATH/*-linux/*install.info",
    ),
    KnownError(
        "start-failed",
        _code(507033),
        "NPU function error: c10_npu::SetDevice(device_id_), error code is 507033",
        Words("the card could not be started", "NPU 启动失败"),
        Words(
            "another process or a crashed one holds it, or driver and CANN do not fit",
            "被其他或已崩溃的进程占用，或驱动与 CANN 不配套",
        ),
        "npu-smi info",
    ),
    KnownError(
        "card-gone",
        _code(207004),
        "NPU function error: aclrtSetDevice, error code is 207004",
        Words("the card does not answer any more", "NPU 不可用"),
        Words("it fell off the bus or is being reset", "设备掉线或正在复位"),
        "npu-smi info",
    ),
    KnownError(
        "heartbeat-lost",
        _code(507010),
        "error code is 507010",
        Words("the card's scheduler has died", "NPU 任务调度器心跳丢失"),
        Words("the card hangs and must be reset", "NPU 已挂起，需要复位"),
        "npu-smi info -t health -i 0",
    ),
    KnownError(
        "model-failed",
        _code(507011),
        "NPU function error: aclrtSynchronizeStream, error code is 507011",
        Words("the card failed to run a task", "NPU 执行任务失败"),
        Words(
            "an operator failed earlier; the first error of the log is the telling one",
            "更早的算子出错；日志中的第一个错误才是原因",
        ),
        "grep -rn ERROR ~/ascend/log/debug/plog | head",
    ),
    KnownError(
        "aicore-crashed",
        _code(507015, 507035, 507016),
        "NPU function error: aclrtSynchronizeStream, error code is 507015",
        Words("an operator crashed on the card", "算子在 AI Core 上异常"),
        Words(
            "a kernel got a shape, an index or a number format that it cannot take, such as a "
            "token id beyond the vocabulary, or bfloat16 on a chip without it",
            "算子收到不支持的形状、下标或数据类型，例如词表外的 token，或不支持 bfloat16 的芯片",
        ),
        "grep -rn ERROR ~/ascend/log/debug/plog | head",
    ),
    KnownError(
        "aicpu-crashed",
        _code(507017, 507018),
        "NPU function error: aclrtSynchronizeStream, error code is 507018",
        Words("an operator crashed on the card's CPU", "算子在 AI CPU 上异常"),
        Words(
            "it got values that it cannot take, or the card had failed before",
            "收到不支持的数值，或该卡此前已出错",
        ),
        "grep -rn ERROR ~/ascend/log/debug/plog | head",
    ),
    KnownError(
        "task-timeout",
        rf"{_code(107020, 507012, 507014, 507034, 507046, 507048)}|\bEE1002\b",
        "error code is 507014",
        Words("a task on the card took too long", "NPU 任务超时"),
        Words(
            "it hangs, or another process keeps the card busy",
            "任务挂起，或其他进程长时间占用该卡",
        ),
        "npu-smi info",
    ),
    KnownError(
        "task-aborted",
        rf"{_code(107022)}|FORCE STOP",
        "error code is 107022: FORCE STOP",
        Words("the card was stopped while it worked", "NPU 任务被强制终止"),
        Words(
            "somebody stopped or reset the card, mostly after an earlier fault",
            "该卡被停止或复位，通常是更早故障的后果",
        ),
        "npu-smi info",
    ),
    KnownError(
        "card-busy",
        r"\bEL0005\b|The resources are busy",
        "EL0005: The resources are busy.",
        Words("the card is busy", "NPU 资源忙"),
        Words(
            "another process holds it, or it is being reset; try again in ten seconds",
            "被其他进程占用或正在复位；十秒后重试",
        ),
        "npu-smi info",
    ),
    KnownError(
        "hccl-occupied",
        r"\bEJ0001\b|Failed to initialize the HCCP process",
        "EJ0001: Failed to initialize the HCCP process. Reason: Maybe the last training process "
        "is running.",
        Words("the process before still holds the card's network", "上一个进程仍占用通信资源"),
        Words(
            "a job that ended badly is still running; end it and wait ten seconds",
            "上次异常退出的任务仍在运行；结束它并等待十秒",
        ),
        "npu-smi info",
    ),
    KnownError(
        "hccl-connect",
        r"\bEI0006\b|Getting socket times out",
        "EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time.",
        Words("the cards did not find each other in time (HCCL)", "HCCL 建链超时"),
        Words(
            "one of the processes died or is slow, or a firewall or another subnet lies between",
            "某个进程已退出或过慢，或存在防火墙、网段不同",
        ),
        "export HCCL_CONNECT_TIMEOUT=600",
    ),
    KnownError(
        "hccl-wait",
        r"\bEI0002\b|The wait execution of the Notify register times out",
        "EI0002: The wait execution of the Notify register times out.",
        Words("one card waited in vain for another (HCCL)", "HCCL 执行超时（notify wait）"),
        Words(
            "one of the processes died or has more to do than the others",
            "某个进程已退出，或各进程负载不一致",
        ),
        "export HCCL_EXEC_TIMEOUT=1800",
    ),
    KnownError(
        "hccl",
        r"\bE[IJ]\d{4}\b|\bERR02200\b|HCCL (?:function )?error",
        "HCCL function error: HcclAllReduce, error code is 7",
        Words("communication between cards failed (HCCL)", "卡间通信失败（HCCL）"),
        Words(
            "the first error of any of the processes is the telling one",
            "各进程日志中最早的错误才是原因",
        ),
        "grep -rn ERROR ~/ascend/log/debug/plog | head",
    ),
    KnownError(
        "bfloat16",
        r"(?:bfloat16|bf16)\b.{0,40}not support|not support.{0,60}(?:bfloat16|bf16)\b",
        "RuntimeError: bfloat16 is not supported on this device",
        Words("this chip has no bfloat16", "本芯片不支持 bfloat16"),
        Words(
            "310P and 910A compute in float16 and float32 only",
            "310P 与 910A 只支持 float16 和 float32",
        ),
        "export DANLU_WORKER_DTYPE=float16",
    ),
    KnownError(
        "operator-refused",
        rf"\bEZ1001\b|{_code(161002)}",
        "aclnnGather failed, error code 161002 EZ1001: expected index shape 2 smaller than 1",
        Words("an operator refused its arguments", "算子参数校验失败"),
        Words(
            "its shapes or number formats are not those that the kernel takes",
            "形状或数据类型不符合算子要求",
        ),
    ),
    KnownError(
        "operator-failed",
        rf"\bEZ\d{{4}}\b|{_code(561000, 561002, 561003, 561103)}",
        "EZ9999: Inner Error!",
        Words("an operator failed inside CANN", "CANN 算子内部错误"),
        Words(
            "most often CANN, its operator package and torch_npu are not of one release",
            "多数情况下是 CANN、算子包与 torch_npu 版本不配套",
        ),
        "danlu doctor",
    ),
    KnownError(
        "driver-refused",
        r"\bEL0003\b",
        "EL0003: The argument is invalid.",
        Words("the driver refused an argument", "驱动拒绝了参数（EL0003）"),
        Words(
            "most often driver and CANN are not of one release, or the card number is wrong",
            "多数情况下是驱动与 CANN 不配套，或卡号错误",
        ),
        "cat /usr/local/Ascend/driver/version.info",
    ),
    KnownError(
        "driver-failed",
        rf"{_code(507899)}|\bEL9999\b",
        "rtGetDeviceCount:ErrCode=507899, desc=[driver error:internal error]",
        Words("the driver failed", "驱动内部错误"),
        Words(
            "mostly what an earlier fault left behind; the first error of the log is the telling "
            "one, and a reset of the card helps",
            "通常是更早故障的后果；以日志中第一个错误为准，复位该卡可恢复",
        ),
        "npu-smi info -t health -i 0",
    ),
    KnownError(
        "runtime-refused",
        r"\bEE1001\b",
        "EE1001: The argument is invalid.",
        Words("CANN refused an argument", "CANN 拒绝了参数（EE1001）"),
        Words("the reason stands behind it in the message", "原因见错误信息后半部分"),
    ),
    KnownError(
        "runtime-failed",
        r"\bEE\d{4}\b|\bE19999\b|\bERR0\d{4}\b|NPU function error",
        "EE9999: Inner Error!",
        Words("CANN failed", "CANN 内部错误"),
        Words(
            "its log says more; the first error in it is the telling one",
            "详情见 CANN 日志，以其中第一个错误为准",
        ),
        "grep -rn ERROR ~/ascend/log/debug/plog | head",
    ),
)
