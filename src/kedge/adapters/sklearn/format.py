"""tmp."""
class _P:
    def __init__(self, m): self.m=m
    def predict(self, x):
        return self.m.predict_proba(x)[:,1] if hasattr(self.m,'predict_proba') else self.m.predict(x)
class SklearnFormat:
    name="skops"
    def accepts(self, m): return hasattr(m,'predict')
    def dump(self, m):
        import skops.io as s
        return {"model.skops": s.dumps(m)}
    def load(self, files, signature):
        import skops.io as s
        d=files["model.skops"]
        return _P(s.loads(d, trusted=s.get_untrusted_types(data=d)))
