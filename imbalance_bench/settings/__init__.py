"""From the files of conf/ and the words of a command line to checked objects: which cells are meant, and their ids."""
