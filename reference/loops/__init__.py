r"""What is meant: each formula as literal Python loops in float64.

Nothing here is fast, and nothing here uses tinytl or PyTorch: a test that compares
with these loops compares with the definition and not with another implementation of
it. Arguments and results are NumPy arrays; pairs such as a stride are always written
as two numbers, so that no line is spent on reading arguments.

Letters, everywhere: N images, C channels in, F filters or channels out, H W input
size, U V kernel size, I J output size, s stride, p padding, d dilation, G groups.
Two of a kind, vertical and horizontal, are s[0] and s[1].
"""
