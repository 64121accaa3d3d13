"""The same mathematics in plain PyTorch, written from the formulas.

networks   twins of tinytl's networks, under the same names of parameters
matching   meta-networks, matching branch and loss of L2T-ww and L2T-www
l2t        one training iteration as published, step by step, and its hypergradient
fast       the same iteration as fast as PyTorch allows
"""
