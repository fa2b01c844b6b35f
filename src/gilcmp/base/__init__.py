"""What all subpackages use and which uses none of them: argument checks, safe files, child interpreters, the median."""
