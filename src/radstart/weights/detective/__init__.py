"""The convention detective: which input do these weights know?"""
