"""Where shard work runs: in this process, in a pool of worker processes, or on Ray.

``shard_map``  the protocol that library code maps shards with
``machine``    cores and memory that this process may use
``pool``       worker processes with time and memory limits
``worker``     what runs in one of them
``ray_map``    the same on Ray
"""
