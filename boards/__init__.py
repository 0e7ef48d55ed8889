"""Boards, one data-only file each."""
