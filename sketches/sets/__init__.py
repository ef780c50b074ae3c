"""Is a key in a set, and how alike are sets?"""
