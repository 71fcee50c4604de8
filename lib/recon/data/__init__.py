"""Files in, samples out.

`open_split` gives the files of a split by the data set's name; `fastmri` reads and writes them;
`samples` makes undersampled measurements of their slices.
"""
