"""The competitors, a module each: what `bench.worker` asks for.

``layer(problem, direction)`` gives calls by the names of variants, an empty dict where the peer
can't; ``inference``, ``step`` and ``export`` likewise for networks. ``as_array`` turns the result
of a call into an array. Importing a module imports its peer.
"""
