"""Tables that ship with the package, what reads them and what wrote them."""
