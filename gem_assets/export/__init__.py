"""Recipes in the units and files of trainers.

One module per trainer. Each converts token shares to that trainer's weight, writes data and configuration, reads its
own files back and reports the token shares that the trainer will see; a recipe that a trainer cannot express is refused
with the reason.
"""
