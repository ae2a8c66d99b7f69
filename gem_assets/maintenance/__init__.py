"""Keeping a data root sound.

``doctor``            what is damaged or left over, and its repair
``findings``          what the doctor says of one thing
``table_findings``    what it finds in the tables
``verify``            whether a lineage is still what it was
``snapshot_removal``  removing a snapshot
"""
