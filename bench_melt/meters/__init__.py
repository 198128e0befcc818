"""Instruments that say how much power a device draws, behind one protocol: base.py."""
