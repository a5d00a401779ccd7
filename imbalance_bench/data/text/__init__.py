"""Texts: corpora as files hold them, and what is made of a text: words, token ids, vectors."""
