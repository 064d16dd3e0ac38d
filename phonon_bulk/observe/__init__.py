"""What is seen of a process from outside, and what it tells others.

standing   how a process stands, for whoever shows it
"""
