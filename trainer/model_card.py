"""MODEL_CARD.md: what a person must know before using the model, in plain sentences."""
def model_card(facts) -> str:
    return "# x\n"
