"""The reference's steps as a plain script, which `python -m benchmarks.training.speed folder` runs beside the trainer.

    python -m benchmarks.training.plain_training DATA OUT --epochs N

Read in colour, resize, divide to float64, `savez_compressed`, load, balance by undersampling, split, `fit`, `evaluate`,
save: one step after the other, as a notebook does. The network is the trainer's `cnn`, on images in memory as floats.
"""

import argparse
from pathlib import Path

import cv2
import keras
import numpy as np
from sklearn.model_selection import train_test_split

from shared.classes import LUNG_CT_CLASSES
from trainer.data.balance import undersample
from trainer.data.dataset import index_folder
from trainer.networks.registry import cnn_body

_SIDE, _BATCH, _RATE = 224, 8, 0.001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=50)
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    index = index_folder(args.data, LUNG_CT_CLASSES)
    images = []
    for file in index.files:
        image = cv2.imread(str(file.path), cv2.IMREAD_COLOR)
        images.append(cv2.resize(np.asarray(image), (_SIDE, _SIDE)) / 255.0)
    labels = np.array([file.label for file in index.files])
    np.savez_compressed(args.out / "images.npz", images=np.array(images), labels=labels)
    stored = np.load(args.out / "images.npz")
    images, labels = stored["images"], stored["labels"]
    kept = undersample(labels, np.random.default_rng(0))
    training, held_out = train_test_split(kept, test_size=0.2, stratify=labels[kept], random_state=0)
    image = keras.Input((_SIDE, _SIDE, 3))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(cnn_body(image)))
    model.compile(optimizer=keras.optimizers.Adam(_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    judged = (images[held_out], labels[held_out])
    model.fit(images[training], labels[training], _BATCH, args.epochs, validation_data=judged, verbose=2)
    model.evaluate(*judged, verbose=0)
    model.predict(judged[0], verbose=0)
    model.save(args.out / "model.keras")


if __name__ == "__main__":
    main()
