"""The student: labels web-scale text with the teacher's clusters from hashed words, one core at a time."""
