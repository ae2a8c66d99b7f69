"""Keeping a data root sound.

``doctor``            what is damaged or left over, and its repair
``verify``            whether a lineage is still what it was
``snapshot_removal``  removing a snapshot
"""
