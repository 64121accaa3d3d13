"""What can be said of GPU kernels without a GPU, and what to run where there is one.

compile_check   every kernel built for real devices: registers, spills, float64
trace           what a program would have a GPU do: every launch, on how much
roofline        whole training steps: bytes and arithmetic, against two devices
gpu_check       on a machine with a GPU: right, and how fast
"""
