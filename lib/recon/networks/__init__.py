"""One network a file. Networks take physics as arguments and know no files.

Every network for MRI has the same call, ``network(kspace, mask)``: masked corner k-space
``(batch, coils, height, width)`` complex and a boolean mask that broadcasts to it; it returns coil
images of the same shape.
"""
