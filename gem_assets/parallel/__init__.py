"""Where shard work runs: in this process, in a pool of worker processes, or on Ray.

``shard_map``  the protocol that library code maps shards with
``machine``    cores and memory that this process may use
``window``     which shard starts next, which result is due
``pool``       worker processes with time and memory limits
``process``    one of them, seen from outside
``worker``     what runs in it
``config``     what a shard of a stage asks of the machines
``ray_map``    the same on Ray
``finished``   shards that a failed run leaves to the next one
"""
