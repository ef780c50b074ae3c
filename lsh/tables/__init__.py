"""Tables that ship with the package, the modules that read them and the scripts that wrote them."""
