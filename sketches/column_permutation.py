def permute_columns(values, method):
    raise NotImplementedError
