"""Flask behind gunicorn's threads: one process, one model, one inference a request; Flask itself batches nothing."""

from flask import Flask, request

from benchmarks.peers.model import load_model

app = Flask(__name__)
model = load_model()


@app.post("/predict")
def predict() -> dict[str, object]:
    (answer,) = model.predict([model.read(request.files["file"].read())])
    return answer
