"""A FastAPI app that receives webhooks by itself: `uvicorn app:app --port 8000`."""

from pathlib import Path

from fastapi import FastAPI

from relay.frameworks.fastapi import webhooks

app = FastAPI()
app.include_router(webhooks(Path(__file__).with_name("relay.toml")))


@app.get("/")
async def shop() -> dict[str, str]:
    return {"shop": "open"}
