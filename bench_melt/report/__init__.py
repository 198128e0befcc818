"""Rows on paper: tables for people, flat files for programs, pages with pictures."""
