"""Laws: from the shares of a mixture to the loss that training on it will reach.

Each law is fitted per target on a swarm of proxy runs and predicts others. ``registry`` names them, ``selection``
chooses among them by cross-validation. Means over targets are means of predictions, never a law fitted to the mean: a
law that is monotone in one linear score cannot place the interior optimum that a mean has.
"""
