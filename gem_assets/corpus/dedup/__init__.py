"""Who keeps a text: exact and near duplicates within a snapshot and against the snapshots before it.

``digests`` and ``minhash`` describe documents; ``candidates`` pairs them; ``known`` holds earlier snapshots;
``verdicts`` decides; ``ownership`` says which snapshot owns a text.
"""
