"""Small models that rank mixtures before anyone trains a large one.

``tokens`` and ``pool`` turn labelled documents into token streams and fixed evaluation windows; ``counts`` is stage 0,
n-gram mixtures in closed form; ``model``, ``head``, ``stream`` and ``train`` are stage 1, a tiny decoder; ``centring``
keeps its output embedding where bfloat16 can tell logits apart; ``swarm`` trains many and never the same one twice.
"""
