"""Mixture methods, one module each; ``registry`` finds them and ``base`` says what a method declares."""
