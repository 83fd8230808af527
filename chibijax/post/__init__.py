"""What happens to a face after it was found: geometry, finish, compositing.

Pictures are [0, 1] float32 or uint8 sRGB; each function says which.
"""
