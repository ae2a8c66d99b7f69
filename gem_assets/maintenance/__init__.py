"""Keeping a data root sound.

``doctor``            what is damaged or left over, and its repair
``snapshot_removal``  removing a snapshot
"""
