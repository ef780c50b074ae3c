"""How often did a key come, and which keys come most often?"""
