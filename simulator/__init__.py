"""The whole relay on paper, in worlds that go wrong: peers, nodes' network and upstreams by one seed.

Imports the relay's pure floors and nothing of its shells; imported by its tests alone.
"""
