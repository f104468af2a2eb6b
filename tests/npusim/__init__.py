"""A machine with Ascend NPUs, simulated: real torch_npu above fake CANN. README.md says how."""
