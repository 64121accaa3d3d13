"""What can be said of the GPU kernels without a GPU, and what to run where there is one.

compile_check   every kernel built for real devices: registers, spills, float64
roofline        bytes and arithmetic of whole training steps, against two devices
gpu_check       on a machine with a GPU: right, and how fast
"""
