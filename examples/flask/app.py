"""A Flask app that receives webhooks by itself: `flask --app app run --port 5000`."""

from pathlib import Path

from flask import Flask

from relay.frameworks.flask import webhooks

app = Flask(__name__)
app.register_blueprint(webhooks(Path(__file__).with_name("relay.toml")))


@app.get("/")
def shop() -> str:
    return "the shop is open\n"
