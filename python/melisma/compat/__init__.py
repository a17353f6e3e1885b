"""Other projects' names and signatures, thin over Melisma: change one import line."""
