"""Networks and architectures in the formats of other tools."""
