"""Benchmarks beside their peers: which there are, what they found, how two findings differ, and pages of them.

The benchmarks themselves are scripts under tests/bench, each one command, on one frame (tests/bench/frame.py); what
they find is kept here, one JSON file a time, in `bench/` of the home that they were started with.
"""
