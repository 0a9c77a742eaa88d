"""Routes of studies that run, beside their pages: a data file comes in, a report goes out."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from tombola.app.app_state import AppState
from tombola.app.study_page import DATA, REPORT
from tombola.foundations.errors import TombolaError
from tombola.report.build import page_of
from tombola.report.html.figure_registry import FigureRegistry


def add(api: FastAPI, state: AppState) -> None:
    """Add the routes; the guard stands before them as before every page."""

    async def receive(request: Request) -> Response:
        try:
            return PlainTextResponse(await state.data.receive(request.query_params.get("name", ""), request.stream()))
        except TombolaError as error:
            return PlainTextResponse(str(error), 400)

    async def report(request: Request) -> Response:
        try:
            folder = state.run(Path(request.query_params.get("run", ""))).folder
            # Made anew: the page in the folder may be of anybody, and would run as one of the app's own.
            return HTMLResponse(await run_in_threadpool(page_of, folder, FigureRegistry()))
        except TombolaError as error:
            return PlainTextResponse(str(error), 404)

    api.add_route(DATA, receive, methods=["POST"])
    api.add_route(REPORT, report, methods=["GET"])
