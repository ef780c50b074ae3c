"""Which rows are near a query?"""
