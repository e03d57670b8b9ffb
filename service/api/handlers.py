"""What answers a POST with one slice or several."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from service.answers.prediction import prediction_of
from service.answers.warnings import EXPLAINED_IN_F32
from service.api.admission import admitted
from service.api.batch import predict_files
from service.api.params import frame_of, number_of, parameter_of
from service.api.state import AppState
from service.explain.explainer import Explanation, Question, index_of_class
from service.explain.overlay import DEFAULT_OPACITY
from service.ledger.facts import facts_of
from service.schemas import NOTE, BatchAnswer, ExplanationAnswer, GridBox, Prediction, SliceSize
from shared.window import LUNG_WINDOW

FRAMES_HEADER, LEVEL_HEADER, WIDTH_HEADER = "X-Image-Frames", "X-Window-Level", "X-Window-Width"
_LEVELS, _WIDTHS = (-1e6, 1e6), (1, 1e6)


class Handlers:
    """Each takes a request and makes its response; what it raises is answered by service.api.exception_handlers."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def predict(self, request: Request) -> Response:
        """Send a JPEG, PNG or DICOM slice as the form field `file`, or as the raw body."""
        state, frame = self._state, frame_of(request)
        async with admitted(state, request, state.predictor.batcher.places) as slice_:
            predicted = await state.predictor.predict(slice_.content, slice_.model, frame)
        prediction = state.answer(slice_.model, predicted, slice_.facts, request.state.request_id, frame)
        request.state.log = {"model_version": prediction.model_version, "prediction": prediction.prediction}
        return Response(prediction.model_dump_json(), media_type="application/json")

    async def predict_batch(self, request: Request) -> Response:
        """Send slices as form fields `files`: each gets its own result or problem, in order.

        There is no answer for the series as a whole. Items wait for room where a single request would be refused.
        """
        results = await predict_files(self._state, request)
        request.state.log = {"items": len(results)}
        return Response(BatchAnswer(results=results).model_dump_json(), media_type="application/json")

    async def render(self, request: Request) -> Response:
        """Send any accepted slice as the form field `file`, or as the raw body; it comes back as an 8-bit PNG.

        DICOM and 16-bit PNG are shown in a window, which `level` and `width` change; by default in the one that the
        model sees. Images of 8 bits have none.
        """
        state, frame = self._state, frame_of(request)
        level, width = number_of(request, "level", *_LEVELS), number_of(request, "width", *_WIDTHS)
        async with admitted(state, request) as slice_:
            window = slice_.model.manifest.preprocessing.window if slice_.model else LUNG_WINDOW
            png, frames, shown_in = await state.renderer.render(slice_.content, window, frame, level, width)
        headers = {FRAMES_HEADER: str(frames), "Cache-Control": "no-store"}
        if shown_in is not None:
            headers |= {LEVEL_HEADER: f"{shown_in.level:g}", WIDTH_HEADER: f"{shown_in.width:g}"}
        return Response(png, media_type="image/png", headers=headers)

    async def explain(
        self,
        request: Request,
        class_name: Annotated[
            str | None,
            Query(
                alias="class", description="Name of a class of the model; default: the predicted one.", max_length=200
            ),
        ] = None,
        picture: Annotated[
            Literal["png", "json"], Query(alias="format", description="An overlay over the slice, or the grid itself.")
        ] = "png",
    ) -> Response:
        """Send a slice as for /predict. **The map is model attention, not lesion location.**

        It shows where what speaks for the class lies, in relation to the rest of this slice: not how much that is, and
        not whether the model is right. Explanations have a worker and a queue of their own and never delay predictions.
        They come from the float32 model, with its own prediction, also where an int8 variant predicts.
        """
        state = self._state
        opacity = number_of(request, "opacity", 0, 1)
        for name in ("class", "format"):
            parameter_of(request, name)  # FastAPI takes the last one of several
        frame = frame_of(request)
        if state.reload.serving is not None:
            index_of_class(state.reload.serving, class_name)  # before the body is read; looked at again after
        drawn = None if picture == "json" else DEFAULT_OPACITY if opacity is None else opacity
        async with admitted(state, request, state.explainer.batcher.places) as slice_:
            served, model = slice_.model, slice_.model.explaining
            explanation = await state.explainer.explain(model, Question(slice_.content, frame, class_name, drawn))
        request_id, note = request.state.request_id, NOTE
        prediction = prediction_of(model.manifest, explanation.predicted, request_id, frame, variant=model.variant)
        if model.variant != served.variant:
            prediction.warnings.append(EXPLAINED_IN_F32)
            note = f"{NOTE}. {EXPLAINED_IN_F32}"
        if slice_.facts:
            slice_.facts.update(facts_of(model, prediction))
        request.state.log = {"model_version": model.version, "explained_by": explanation.method}
        if explanation.overlay is not None:
            return Response(explanation.overlay, media_type="image/png", headers={"X-Note": note})
        answer = _explanation_answer(explanation, prediction).model_dump_json()
        return Response(answer, media_type="application/json", headers={"X-Note": note})


def _explanation_answer(explanation: Explanation, prediction: Prediction) -> ExplanationAnswer:
    height, width = explanation.grey.shape
    return ExplanationAnswer(
        class_name=explanation.class_name,
        method=explanation.method,
        note=NOTE,
        grid=[[round(value, 4) for value in row] for row in explanation.grid.tolist()],
        box=GridBox(**asdict(explanation.box)),
        slice=SliceSize(width=width, height=height),
        prediction=prediction,
        model_version=prediction.model_version,
        request_id=prediction.request_id,
        warnings=prediction.warnings,
    )
