"""Mending what was lost: from a backup what it holds, from the lake itself what that can tell again."""
